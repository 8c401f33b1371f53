"""Threads, locks, conditions, subprocesses, pools of processes and asyncio."""
import asyncio
import concurrent.futures
import multiprocessing
import queue
import socket
import sqlite3
import subprocess
import sys
import threading


def count_in_threads():
    total, lock = 0, threading.Lock()

    def add():
        nonlocal total
        for _ in range(1000):
            with lock:
                total += 1

    threads = [threading.Thread(target=add) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


def pass_through_queues():
    first, second = queue.Queue(5), queue.Queue(5)

    def double():
        while (item := first.get()) is not None:
            second.put(2 * item)
        second.put(None)

    threading.Thread(target=double).start()
    threading.Thread(target=lambda: [first.put(n) for n in [*range(200), None]]).start()
    return sum(iter(second.get, None))


async def talk_to_itself():
    async def echo(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 7000)

    async def ask(number):
        reader, writer = await asyncio.open_connection("127.0.0.1", 7000)
        writer.write(f"number {number}\n".encode())
        answer = await reader.read()
        writer.close()
        return answer == f"NUMBER {number}\n".encode()

    answers = await asyncio.gather(*(ask(n) for n in range(50)))
    server.close()
    return sum(answers)


def square(number):
    return number * number


if __name__ == "__main__":
    print("threads", count_in_threads())
    print("queues", pass_through_queues())
    print("asyncio", asyncio.run(talk_to_itself()))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        print("pool", sum(pool.map(square, range(100))))
    with multiprocessing.Pool(3) as pool:
        print("processes", sum(pool.map(square, range(100))))
    child = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, check=True)
    print("subprocess", child.stdout.decode().strip())
    one, other = socket.socketpair()
    one.sendall(b"x" * 1000)
    print("socketpair", len(other.recv(2000)))
    print("sqlite", sqlite3.connect(":memory:").execute("select 1 + 1").fetchone()[0])

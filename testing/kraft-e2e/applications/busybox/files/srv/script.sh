# Pipes, jobs, traps, here-documents and applets of busybox.
/bin/busybox mkdir /tmp/bin
/bin/busybox --install -s /tmp/bin
export PATH=/tmp/bin
trap 'echo "trapped USR1"' USR1
seq 1 1000 | grep 7 | sort -rn | head -n 3 | tr '\n' ' '
echo
(sleep 1; exit 7) &
wait $!
echo "job ended with $?"
kill -USR1 $$
for i in 1 2 3 4 5; do
    echo "$i" | gzip | gunzip | sed 's/^/line /' >/tmp/$i &
done
wait
cat /tmp/[1-5]
mkfifo /tmp/pipe
(cat </tmp/pipe | md5sum) &
dd if=/dev/zero of=/tmp/pipe bs=1024 count=100 2>/dev/null
wait
tar -cf - -C / etc | tar -tf - | grep -c passwd
nc -l -p 7000 >/tmp/heard &
tries=0
until echo "over TCP" | nc 127.0.0.1 7000 2>/dev/null || [ $((tries += 1)) = 100 ]; do sleep 0.1; done
wait
cat /tmp/heard <<END
unread
END
trap 'echo "trapped EXIT"' EXIT
exit 3

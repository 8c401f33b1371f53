// A web server with a worker thread and a child process behind two of its paths.
const { execFile } = require("node:child_process");
const http = require("node:http");
const { Worker } = require("node:worker_threads");

const paths = {
  "/": (answer) => answer("hello from node\n"),
  "/worker": (answer) => {
    const text = "require('node:worker_threads').parentPort.postMessage(6 * 7)";
    new Worker(text, { eval: true }).once("message", (value) => answer(`${value}\n`));
  },
  "/child": (answer) => {
    execFile(process.execPath, ["-p", "7 * 7"], (error, stdout) => answer(error ? `${error}` : stdout));
  },
};
http
  .createServer((request, response) => {
    const path = paths[request.url] ?? ((answer) => answer("no such path\n"));
    path((text) => response.end(text));
  })
  .listen(8080, "0.0.0.0", 511);

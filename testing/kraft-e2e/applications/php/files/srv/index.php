<?php
// Answers for PHP's built-in web server.
header("Content-Type: text/plain");
echo $_SERVER["REQUEST_URI"] === "/json"
    ? json_encode(["squares" => array_map(fn ($n) => $n ** 2, range(1, 5))]) . "\n"
    : "hello from php\n";

# A web server with one process for each connection.
use strict;
use warnings;
use IO::Socket::INET;

$SIG{CHLD} = "IGNORE";
my $server = IO::Socket::INET->new(LocalPort => 8080, Listen => 128, ReuseAddr => 1) or die $!;
while (1) {
    my $client = $server->accept() or next;
    my $pid = fork() // die "fork: $!";
    if (!$pid) {
        my $request = <$client>;
        while (defined(my $line = <$client>)) { last if $line =~ /^\r?\n/ }
        my $body = "hello from perl\n";
        print $client "HTTP/1.0 200 OK\r\nContent-Length: ", length $body, "\r\n\r\n$body";
        close $client;
        exit 0;
    }
    close $client;
}

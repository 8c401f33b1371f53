# Processes, pipes, signals and alarms.
use strict;
use warnings;
use POSIX ":sys_wait_h";

$| = 1;
my $ended = 0;
$SIG{CHLD} = sub { $ended++ while waitpid(-1, WNOHANG) > 0 };
for my $number (1 .. 10) {
    my $pid = fork() // die "fork: $!";
    exit 0 unless $pid;
}
select(undef, undef, undef, 0.1) while $ended < 10;
print "children $ended\n";
$SIG{CHLD} = "DEFAULT";
my $alarmed = eval { local $SIG{ALRM} = sub { die "alarm\n" }; alarm 1; sleep 60; 0 } // $@;
print "interrupted by $alarmed";
open(my $pipe, "-|", $^X, "-e", 'print join(",", sort { $a <=> $b } map { $_ ** 2 } 1 .. 9)') or die $!;
print "piped ", <$pipe>, "\n";
close $pipe;
my %count;
$count{length $_}++ for map { "x" x ($_ % 7) } 1 .. 7000;
print "hash ", join(" ", map { "$_:$count{$_}" } sort keys %count), "\n";
exit 3;

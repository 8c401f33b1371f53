# Talks to itself through the event loop.
proc serve {channel address port} {
    fconfigure $channel -buffering line -blocking 0
    fileevent $channel readable [list answer $channel]
}
proc answer {channel} {
    if {[gets $channel line] >= 0} {
        puts $channel [string toupper $line]
        close $channel
    }
}
proc heard {channel} {
    global count
    if {[gets $channel line] >= 0} {
        close $channel
        incr count
        if {$line ne "HELLO"} { exit 1 }
    }
}
set count 0
socket -server serve -myaddr 127.0.0.1 7000
for {set i 0} {$i < 20} {incr i} {
    set channel [socket 127.0.0.1 7000]
    fconfigure $channel -buffering line -blocking 0
    puts $channel hello
    fileevent $channel readable [list heard $channel]
}
while {$count < 20} { vwait count }
after 100 { set done 1 }
vwait done
puts "answers $count"
exit 3

# Arrays, pipes from and to commands, and a coprocess on a TCP connection to nobody.
BEGIN {
    for (i = 1; i <= 100; i++) squares[i] = i * i
    for (i in squares) sum += squares[i]
    print "sum", sum
    print gensub(/(b+)/, "<\\1>", "g", "abbbcb")
    sorter = "gawk '{ lines[NR] = $0 } END { n = asort(lines); for (i = 1; i <= n; i++) print lines[i] }'"
    print "pear\napple\nfig" |& sorter
    close(sorter, "to")
    while ((sorter |& getline line) > 0) print line
    exit 3
}

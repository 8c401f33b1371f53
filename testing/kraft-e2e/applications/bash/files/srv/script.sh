# Traps, job control, process substitution, coprocesses and arrays.
set -m
export PATH=/bin:/usr/bin
trap 'echo "trapped USR1"' USR1
declare -A squares
for i in {1..9}; do squares[$i]=$((i * i)); done
echo "${squares[*]@Q}" | tr -d "'" | tr ' ' '\n' | sort -n | paste -sd ' '
sleep 100 &
sleeper=$!
kill -STOP %1
until [[ $(jobs -l) == *Stopped* ]]; do :; done
echo stopped
kill -CONT %1
until [[ $(jobs -l) == *Running* ]]; do :; done
echo running
kill -TERM %1
wait "$sleeper"
echo "job ended with $?"
kill -USR1 $BASHPID
coproc cat
echo "through a coprocess" >&"${COPROC[1]}"
read -r line <&"${COPROC[0]}"
echo "$line"
exec {COPROC[1]}>&-
comm -13 <(seq 1 5) <(seq 1 6)
pids=()
for i in {1..20}; do
    (exit "$i") &
    pids+=($!)
done
sum=0
for pid in "${pids[@]}"; do
    wait "$pid"
    sum=$((sum + $?))
done
echo "statuses sum up to $sum"
# Not for the jobs above: bash 5.2 corrupts its heap, on Linux as well, when a trap of SIGCHLD interrupts `wait`.
trap 'jobs_ended=$((jobs_ended + 1))' CHLD
sleep 0.01
trap - CHLD
((jobs_ended > 0)) && echo "SIGCHLD came"
(trap 'echo "in a subshell"; exit 9' TERM; kill -TERM "$BASHPID"; sleep 10)
echo "it ended with $?"
timeout 0.5 sleep 60
echo "timeout gives $?"
trap 'echo "trapped EXIT"' EXIT
exit 3

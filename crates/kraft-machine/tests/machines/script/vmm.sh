#!/bin/sh
# A program that pretends to be a VMM: vmm.sh --machine ID GUEST...
#
# Its guest is a list of actions: print:TEXT, exit:STATUS, panic, and wait, which obeys the commands
# that arrive in the named pipe `commands`. It prints the console to stdout and its own messages to
# stderr, and appends events to its event log: SECONDS EVENT [ARGUMENT].
shift 2
event() {
	echo "$(date +%s) $*" >>events.out
}
case $1 in
broken)
	echo "script: cannot create the machine" >&2
	exit 7
	;;
esac
# Opened for reading and writing, so that a pipe without a writer does not end the loop below.
exec 3<>commands
event ready
for action; do
	case $action in
	print:*) echo "${action#print:}" ;;
	exit:*)
		event off "${action#exit:}"
		exit "${action#exit:}"
		;;
	panic)
		event panic
		exit 1
		;;
	wait)
		while read -r command <&3; do
			case $command in
			pause) event paused ;;
			resume) event resumed ;;
			quit)
				event stopped
				exit 0
				;;
			esac
		done
		;;
	esac
done
event off 0

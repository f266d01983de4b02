#!/bin/bash
# with_x.sh COMMAND...: run COMMAND on a fresh Xvfb, which picks a free display number itself.
number=$(mktemp)
exec 7>"$number"
Xvfb -displayfd 7 -screen 0 "${SCREEN_SIZE:-1280x800}x24" -nolisten tcp -ac +extension GLX -noreset 2>"$number.log" &
server=$!
for _ in $(seq 200); do
  display=$(cat "$number")
  [ -n "$display" ] && break
  kill -0 $server 2>/dev/null || break
  sleep 0.05
done
if [ -z "${display:-}" ]; then
  echo "Xvfb did not start:" >&2
  cat "$number.log" >&2
  exit 99
fi
DISPLAY=:$display "$@"
code=$?
kill $server
wait $server 2>/dev/null
rm -f "$number" "$number.log"
exit $code

#!/bin/bash
# install_and_run.sh FOLDER DRIVER OUT [ARGUMENT...]: install FOLDER/lookalike.zip as a user does from the command line,
# start Blender with a window, and let DRIVER act. BLENDER names the binary, GPU its backend; INPUT=real takes input
# from X instead of the driver's. Exit 2: not installed.
set -u
folder=$1 driver=$2 out=$3
shift 3
blender=${BLENDER:-blender}
said=$("$blender" -b --command extension install-file -r user_default --enable "$folder/lookalike.zip" 2>&1)
# Blender exits 0 even where nothing was installed.
if ! grep -qE 'STATUS (Installed|Reinstalled)' <<<"$said"; then
  echo "$said"
  exit 2
fi
# With simulated input Blender heeds no real one.
simulate=--enable-event-simulate
[ "${INPUT:-}" = real ] && simulate=
exec "$blender" --window-geometry 0 0 1280 800 --gpu-backend "${GPU:-opengl}" $simulate --python-exit-code 3 \
  --python "$folder/drivers/$driver.py" -- "$out" "$@"

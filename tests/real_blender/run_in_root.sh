#!/bin/bash
# run_in_root.sh ROOT SHARE COMMAND...: run COMMAND inside ROOT, with SHARE seen as /lab, on an X server of its own.
#
# Mounts live in a namespace of this process and end with it, as does everything started inside. The network is the
# host's: a backend on 127.0.0.1 outside can be reached from inside. HEADLESS=1 starts no X server.
set -u
root=$(cd "$1" && pwd) || exit 125
share=$(cd "$2" && pwd) || exit 125
shift 2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$root/lab" "$root/dev" "$root/sys" "$root/tmp" "$root/proc"
install -m 755 "$here/with_x.sh" "$root/usr/local/bin/with_x"
[ -n "${HEADLESS:-}" ] || set -- with_x "$@"
exec unshare --mount --pid --fork --kill-child=KILL --propagation private -- /bin/bash -c '
  root=$1 share=$2
  shift 2
  mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" &&
    mount -t tmpfs tmpfs "$root/tmp" && mount --bind "$share" "$root/lab" || exit 125
  # Must exist beforehand: Blender silently uses ~/.config when it does not.
  mkdir -p "$root/tmp/blender-user"
  exec env -i HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 LC_ALL=C.UTF-8 \
    XDG_RUNTIME_DIR=/tmp BLENDER_USER_RESOURCES=/tmp/blender-user SCREEN_SIZE="${SCREEN_SIZE:-1280x800}" \
    /usr/sbin/chroot "$root" "$@"
' run_in_root "$root" "$share" "$@"

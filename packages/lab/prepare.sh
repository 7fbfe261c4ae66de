#!/bin/sh
# Fetches what the real-guest tests boot: a Debian kernel with its modules and a static busybox, for x86-64 and s390x (QEMU)
# and for i386 (v86; with it the BIOS images, and the programs that make and check file systems).
# Nothing is installed; the packages are unpacked into ${VIRTKIT_LAB_CACHE:-$HOME/.cache/virtkit-lab}/<arch>.
# Needs Debian. As root, foreign architectures are added to the machine's apt; as anybody else, apt gets lists of its own in the
# cache. Running it again does nothing.
#
#   ./prepare.sh                all architectures
#   ./prepare.sh x86_64         one of them
#   ./prepare.sh --with-qemu    also installs the QEMUs from apt
set -eu

cache=${VIRTKIT_LAB_CACHE:-${HOME:-/root}/.cache/virtkit-lab}
arches=
with_qemu=no
for arg in "$@"; do
  case $arg in
    --with-qemu) with_qemu=yes ;;
    x86_64 | s390x | i386) arches="$arches $arg" ;;
    *) echo "prepare.sh: unknown argument $arg" >&2; exit 2 ;;
  esac
done
[ -n "$arches" ] || arches='x86_64 s390x i386'

if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
  echo 'prepare.sh: needs apt-get and dpkg' >&2
  exit 1
fi

if [ "$(id -u)" -ne 0 ]; then
  # the machine's sources and keys, and all that apt writes in the cache
  apt=$cache/apt
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  cat > "$apt/apt.conf" <<END
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$apt";
APT::Architectures { "$(dpkg --print-architecture)"; "amd64"; "i386"; "s390x"; };
END
  export APT_CONFIG="$apt/apt.conf"
fi

updated=no
update() {
  # a mirror that is being written may lack an index for a while; what is needed may be there all the same
  [ "$updated" = yes ] || apt-get update -qq || apt-get update -qq || echo 'prepare.sh: apt-get update failed' >&2
  updated=yes
}

if [ "$with_qemu" = yes ] && ! { command -v qemu-system-x86_64 && command -v qemu-system-s390x; } >/dev/null; then
  update
  # qemu-system-s390x is a package of its own in newer releases and a part of qemu-system-misc in older ones.
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends qemu-system-x86 qemu-system-misc
  command -v qemu-system-s390x >/dev/null ||
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends qemu-system-s390x
fi

# The package a metapackage stands for: its first linux-image dependency.
concrete() {
  apt-cache depends "$1" | sed -n 's/^ *Depends: \(linux-image-[^ <>]*\).*/\1/p' | head -n 1
}

for arch in $arches; do
  dir=$cache/$arch
  if [ -e "$dir/.complete" ]; then
    echo "prepare.sh: $dir is complete ($(cat "$dir/.complete"))"
    continue
  fi
  extra=
  case $arch in
    i386)
      deb=i386 meta=linux-image-686
      extra='seabios e2fsprogs:i386 libblkid1:i386 libc6:i386 libcom-err2:i386 libext2fs2:i386 libss2:i386 libuuid1:i386'
      ;;
    x86_64) deb=amd64 meta=linux-image-cloud-amd64 ;;
    s390x) deb=s390x meta=linux-image-s390x ;;
  esac
  suffix=
  if [ "$(dpkg --print-architecture)" != "$deb" ]; then
    suffix=:$deb
    if [ "$(id -u)" -eq 0 ] && ! dpkg --print-foreign-architectures | grep -qx "$deb"; then
      dpkg --add-architecture "$deb"
      updated=no
    fi
  fi
  update
  kernel=$(concrete "$meta$suffix")
  if [ -z "$kernel" ]; then
    echo "prepare.sh: no package behind $meta$suffix" >&2
    exit 1
  fi
  kernel=${kernel%%:*}$suffix
  # Newer releases split the package: kernel and modules apart.
  parts=$(apt-cache depends "$kernel" | sed -n 's/^ *Depends: \(linux-\(binary\|modules\)-[^ <>:]*\).*/\1/p' | sed "s/\$/$suffix/" | tr '\n' ' ')
  work=$(mktemp -d "${TMPDIR:-/tmp}/virtkit-lab.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  chmod 777 "$work" # apt fetches as a user of its own
  (cd "$work" && apt-get download -qq "$kernel" $parts $extra "busybox-static$suffix")
  rm -rf "$dir"
  mkdir -p "$dir"
  for package in "$work"/*.deb; do
    dpkg -x "$package" "$dir"
  done
  rm -rf "$work"
  for path in "$dir"/usr/share/*; do
    [ "${path##*/}" = seabios ] || rm -rf "$path"
  done
  trap - EXIT
  # Newer kernels ship compressed modules; insmod in the guest wants them plain.
  find "$dir" -name '*.ko.xz' -exec xz -d {} +
  find "$dir" -name '*.ko.zst' -exec zstd -q -d --rm {} +
  echo "$kernel" > "$dir/.complete"
  echo "prepare.sh: $dir has $kernel"
done

# Typed into the shell of a guest that has booted and has no devices yet: after it, the guest has its name, its disk on /disk,
# and its address. NAME, ADDRESS, ROWS, COLUMNS are set in the line before.
mkdir -p /disk
hostname "$NAME"
cat > /bin/check << 'EOF'
#!/bin/sh
# Writes random data to the disk, eight pieces at a time, forgets what is cached of it, reads it back and compares: until
# it is interrupted.
dd if=/dev/zero of=/disk/check.bin bs=64k count=16 conv=fsync 2> /dev/null || exit 1
n=0
while true; do
  n=$((n + 1))
  head -c 1048576 /dev/urandom > /tmp/data
  want=$(md5sum < /tmp/data | cut -c1-32)
  for piece in 0 1 2 3 4 5 6 7; do
    dd if=/tmp/data of=/disk/check.bin bs=16k count=8 skip=$((8 * piece)) seek=$((8 * piece)) oflag=direct conv=notrunc 2> /dev/null &
  done
  wait
  sync
  echo 3 > /proc/sys/vm/drop_caches
  have=$(md5sum < /disk/check.bin | cut -c1-32)
  if [ "$want" = "$have" ]; then word=right; else word="WRONG, should be $want"; fi
  echo "check $n: 1 MiB, $have $word"
done
EOF
chmod +x /bin/check
echo 1 > /sys/bus/pci/rescan
while [ ! -b /dev/vda ] || [ ! -e /sys/class/net/eth0 ]; do sleep 0.05; done
ip addr add "$ADDRESS/24" dev eth0 && ip link set eth0 up
if [ "$(dd if=/dev/vda bs=1 skip=1080 count=2 2> /dev/null | hexdump -e '1/2 "%x"')" = ef53 ]; then
  /sbin/e2fsck -p /dev/vda > /tmp/fsck.log 2>&1
else
  echo "a new disk: making a file system"
  /sbin/mke2fs -q -t ext4 -O ^metadata_csum /dev/vda
fi
mount -t ext4 /dev/vda /disk && cd /disk
echo "$(uname -sr). Disk: $(df -h /disk | awk 'NR == 2 { print $2 ", " $3 " used" }'). Network: $ADDRESS"
stty sane rows "$ROWS" cols "$COLUMNS"; export PS1="\\h:\\w\\$ " PS2="> " TERM=xterm-256color; exec cttyhack sh

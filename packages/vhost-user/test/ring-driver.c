/*
 * A driver of a vhost-user disk that is quicker than the device and sleeps as a real one does: it kicks only when the device's event suppression asks
 * for it (Virtio 1.3 §2.7.10, §2.8.14), waits for an interrupt only after it has asked for one and has looked once more, and puts a full barrier where
 * the specification wants one. A notification that either side has lost leaves both asleep, which ends the program with status 1.
 *
 * usage: ring-driver SOCKET split|packed ENTRIES BATCHES SECTORS SEED [no-barrier]
 *
 * Each sector of the disk begins with its number, 8 bytes. `no-barrier` leaves the driver's own barrier in front of the kick out: what comes of that
 * shows that the run could notice a lost notification.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { GET_FEATURES = 1, SET_FEATURES = 2, SET_OWNER = 3, SET_MEM_TABLE = 5, SET_VRING_NUM = 8, SET_VRING_ADDR = 9, SET_VRING_BASE = 10,
       SET_VRING_KICK = 12, SET_VRING_CALL = 13 };
enum { NEXT = 1, WRITE = 2, AVAIL = 1 << 7, USED = 1 << 15, EVENT_DISABLE = 1, EVENT_DESC = 2 };
#define EVENT_IDX (1ull << 29)
#define VERSION_1 (1ull << 32)
#define RING_PACKED (1ull << 34)
#define MEMORY (4u << 20)
#define SECTOR 512
/* Descriptors of a request: header, data, status. */
#define PARTS 3
/* Nobody sleeps that long who is to be woken. */
#define STALL_MS 60000
#define BATCH_MAX 8
/* How often a driver looks that does not sleep yet. */
#define LOOKS 20000

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct packed_desc { uint64_t addr; uint32_t len; uint16_t id, flags; };
struct used_elem { uint32_t id, len; };
struct request { uint32_t type, reserved; uint64_t sector; uint8_t data[SECTOR]; uint8_t status; uint8_t pad[7]; };

static uint8_t *memory;
static int kick_fd, call_fd;
static unsigned entries, requests;
static int is_packed, barrier = 1;
static uint64_t kicks, waits, finished;

/* The ring's three parts, by their guest addresses; memory begins at 0, where no ring may be. */
static const unsigned at_desc = 1 << 16, at_driver = 2 << 16, at_device = 3 << 16, at_requests = 4 << 16;
static struct request *request(unsigned id) { return (struct request *)(memory + at_requests) + id; }

static void fail(const char *what) { perror(what); exit(2); }
static uint32_t state;
static uint32_t chance(uint32_t below) { state = state * 1664525u + 1013904223u; return (state >> 8) % below; }
static void full(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static uint16_t load16(const void *p) { return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE); }
static void store16(void *p, uint16_t v) { __atomic_store_n((uint16_t *)p, v, __ATOMIC_RELEASE); }
static int passed(uint16_t event, uint16_t now, uint16_t before) { return (uint16_t)(now - event - 1) < (uint16_t)(now - before); }

/* Free requests, and the sector that each asks for. */
static uint16_t free_list[1024];
static unsigned free_count;
static uint64_t wanted[1024];

/* Split ring */
static uint16_t s_avail, s_kicked, s_used;
static uint16_t *s_half(unsigned base, unsigned index) { return (uint16_t *)(memory + base) + index; }

static void split_add(unsigned id) {
  *s_half(at_driver, 2 + s_avail % entries) = id * PARTS;
  store16(s_half(at_driver, 1), ++s_avail);
}
static int split_wants_kick(void) {
  if (barrier) full();
  uint16_t before = s_kicked;
  s_kicked = s_avail;
  return passed(load16(s_half(at_device, 2 + 4 * entries)), s_avail, before);
}
static int split_has_used(void) { return load16(s_half(at_device, 1)) != s_used; }
static unsigned split_take(uint32_t *len) {
  struct used_elem *used = (struct used_elem *)(memory + at_device + 4) + s_used++ % entries;
  *len = used->len;
  return used->id / PARTS;
}
static void split_ask(int wanted_now) { if (wanted_now) store16(s_half(at_driver, 2 + entries), s_used); }

/* Packed ring */
static uint16_t p_next, p_added, p_last, p_slots = PARTS;
static int p_avail_wrap = 1, p_used_wrap = 1;
static struct packed_desc *p_desc(unsigned slot) { return (struct packed_desc *)(memory + at_desc) + slot; }

static void packed_add(unsigned id) {
  struct request *r = request(id);
  uint64_t base = (uint8_t *)r - memory;
  const uint64_t addr[PARTS] = { base, base + 16, base + 16 + SECTOR };
  const uint32_t len[PARTS] = { 16, SECTOR, 1 };
  const uint16_t flags[PARTS] = { NEXT, NEXT | WRITE, WRITE };
  unsigned head = p_next;
  uint16_t head_flags = 0;
  for (unsigned part = 0; part < PARTS; part++) {
    struct packed_desc *d = p_desc(p_next);
    uint16_t mark = flags[part] | (p_avail_wrap ? AVAIL : USED);
    d->addr = addr[part]; d->len = len[part]; d->id = id;
    if (part == 0) head_flags = mark; else d->flags = mark;
    if (++p_next == entries) { p_next = 0; p_avail_wrap ^= 1; }
  }
  store16(&p_desc(head)->flags, head_flags);
  p_added += PARTS;
}
static int packed_wants_kick(void) {
  if (barrier) full();
  uint16_t now = p_next, before = now - p_added;
  p_added = 0;
  uint32_t both = __atomic_load_n((uint32_t *)(memory + at_device), __ATOMIC_ACQUIRE);
  uint16_t flags = both >> 16, event = both & 0x7fff;
  if (flags != EVENT_DESC) return flags != EVENT_DISABLE;
  if ((int)(both >> 15 & 1) != p_avail_wrap) event -= entries;
  return passed(event, now, before);
}
static int packed_has_used(void) {
  uint16_t flags = load16(&p_desc(p_last)->flags);
  return !!(flags & AVAIL) == !!(flags & USED) && !!(flags & USED) == p_used_wrap;
}
static unsigned packed_take(uint32_t *len) {
  struct packed_desc *d = p_desc(p_last);
  *len = d->len;
  unsigned id = d->id;
  p_last += p_slots;
  if (p_last >= entries) { p_last -= entries; p_used_wrap ^= 1; }
  return id;
}
static void packed_ask(int wanted_now) {
  if (wanted_now) store16(memory + at_driver, p_last | p_used_wrap << 15);
  store16(memory + at_driver + 2, wanted_now ? EVENT_DESC : EVENT_DISABLE);
}

static int has_used(void) { return is_packed ? packed_has_used() : split_has_used(); }
static void ask(int wanted_now) { if (is_packed) packed_ask(wanted_now); else split_ask(wanted_now); }

static void submit(unsigned count, uint64_t sectors) {
  for (unsigned i = 0; i < count; i++) {
    unsigned id = free_list[--free_count];
    struct request *r = request(id);
    r->type = 0; r->sector = wanted[id] = chance(sectors); r->status = 0xff;
    memset(r->data, 0xee, 8);
    if (is_packed) packed_add(id); else split_add(id);
  }
  if (is_packed ? packed_wants_kick() : split_wants_kick()) { kicks++; eventfd_write(kick_fd, 1); }
}

static unsigned drain(void) {
  unsigned count = 0;
  for (; has_used(); count++) {
    uint32_t len;
    unsigned id = is_packed ? packed_take(&len) : split_take(&len);
    uint64_t found;
    if (id >= requests) { printf("used: request %u of %u\n", id, requests); exit(1); }
    memcpy(&found, request(id)->data, 8);
    if (request(id)->status != 0 || len != SECTOR + 1 || found != wanted[id] || wanted[id] == UINT64_MAX) {
      printf("request %u: status %u, %u bytes, sector %llu instead of %llu\n", id, request(id)->status, len, (unsigned long long)found, (unsigned long long)wanted[id]);
      exit(1);
    }
    wanted[id] = UINT64_MAX;
    free_list[free_count++] = id;
    finished++;
  }
  return count;
}

static void wait_for_used(void) {
  for (;;) {
    ask(0);
    if (drain() > 0) return;
    ask(1);
    full();
    if (has_used()) continue;
    struct pollfd p = { .fd = call_fd, .events = POLLIN };
    eventfd_t value;
    waits++;
    if (poll(&p, 1, STALL_MS) == 0) {
      printf("STALL: a lost %s after %llu requests, %u in flight\n", has_used() ? "interrupt" : "kick", (unsigned long long)finished, requests - free_count);
      exit(1);
    }
    eventfd_read(call_fd, &value);
  }
}

static void send_message(int fd, uint32_t number, const void *payload, uint32_t size, int passing) {
  uint8_t bytes[12 + 64];
  const uint32_t header[3] = { number, 1, size };
  memcpy(bytes, header, 12); memcpy(bytes + 12, payload, size);
  struct iovec iov = { bytes, 12 + size };
  union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
  struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
  if (passing >= 0) {
    message.msg_control = control.bytes; message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET; c->cmsg_type = SCM_RIGHTS; c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &passing, sizeof(int));
  }
  if (sendmsg(fd, &message, 0) != (ssize_t)iov.iov_len) fail("sendmsg");
}

static void connect_device(const char *path) {
  struct sockaddr_un name = { .sun_family = AF_UNIX };
  strncpy(name.sun_path, path, sizeof name.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0), file = memfd_create("guest", 0);
  if (connect(fd, (struct sockaddr *)&name, sizeof name) < 0) fail("connect");
  if (ftruncate(file, MEMORY) < 0) fail("ftruncate");
  memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) fail("mmap");
  kick_fd = eventfd(0, 0); call_fd = eventfd(0, EFD_NONBLOCK);
  uint64_t base = (uintptr_t)memory, features = VERSION_1 | EVENT_IDX | (is_packed ? RING_PACKED : 0), zero = 0;
  const struct { uint32_t count, pad; uint64_t gpa, size, user, offset; } table = { 1, 0, 0, MEMORY, base, 0 };
  const struct { uint32_t index, flags; uint64_t desc, used, avail, log; } address = { 0, 0, base + at_desc, base + at_device, base + at_driver, 0 };
  send_message(fd, SET_OWNER, NULL, 0, -1);
  send_message(fd, SET_FEATURES, &features, 8, -1);
  send_message(fd, SET_MEM_TABLE, &table, sizeof table, file);
  send_message(fd, SET_VRING_NUM, (uint32_t[]){ 0, entries }, 8, -1);
  send_message(fd, SET_VRING_BASE, (uint32_t[]){ 0, is_packed ? 0x80008000u : 0 }, 8, -1);
  send_message(fd, SET_VRING_ADDR, &address, sizeof address, -1);
  send_message(fd, SET_VRING_CALL, &zero, 8, call_fd);
  send_message(fd, SET_VRING_KICK, &zero, 8, kick_fd);
}

int main(int argc, char **argv) {
  if (argc < 7) { fprintf(stderr, "usage: ring-driver SOCKET split|packed ENTRIES BATCHES SECTORS SEED [no-barrier]\n"); return 2; }
  is_packed = strcmp(argv[2], "packed") == 0;
  entries = atoi(argv[3]);
  const uint64_t batches = atoll(argv[4]), sectors = atoll(argv[5]);
  state = atoi(argv[6]);
  barrier = argc < 8;
  requests = entries / PARTS;
  connect_device(argv[1]);
  for (unsigned id = 0; id < requests; id++) { free_list[free_count++] = id; wanted[id] = UINT64_MAX; }
  for (unsigned id = 0; !is_packed && id < requests; id++) {
    struct desc *d = (struct desc *)(memory + at_desc) + id * PARTS;
    uint64_t base = (uint8_t *)request(id) - memory;
    d[0] = (struct desc){ base, 16, NEXT, id * PARTS + 1 };
    d[1] = (struct desc){ base + 16, SECTOR, NEXT | WRITE, id * PARTS + 2 };
    d[2] = (struct desc){ base + 16 + SECTOR, 1, WRITE, 0 };
  }
  for (uint64_t batch = 0; batch < batches; batch++) {
    unsigned most = chance(4) != 0 ? 1 : BATCH_MAX;
    if (most > free_count) most = free_count;
    if (most > 0) submit(1 + chance(most), sectors);
    /* most batches come just when the device has shown what it did, and is about to ask for kicks */
    if (chance(8) != 0) for (unsigned looks = 0; looks < LOOKS && !has_used(); looks++) ;
    for (volatile unsigned spin = chance(200); spin > 0; spin--) ;
    if (free_count == 0 || chance(16) == 0) wait_for_used(); else drain();
  }
  while (free_count < requests) wait_for_used();
  printf("DONE %llu requests, %llu kicks, %llu waits\n", (unsigned long long)finished, (unsigned long long)kicks, (unsigned long long)waits);
  return 0;
}

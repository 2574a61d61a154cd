"""The names of a channel's keys, and the scripts that change several of them at once."""

from __future__ import annotations

from typing import Final


class Keys:
    """The keys of one channel."""

    def __init__(self, channel: str) -> None:
        self.base = f"gristmill:{{{channel}}}"
        self.partitions = f"{self.base}:partitions"
        self.count = f"{self.base}:count"

    def stream(self, partition: int) -> str:
        """Give the stream of a partition."""
        return f"{self.base}:{partition}"

    def publisher(self, partition: int, publisher: str) -> str:
        """Give what holds a publisher's last number in a partition."""
        return f"{self.base}:from:{partition}:{publisher}"

    def members(self, group: str) -> str:
        """Give the members of a group."""
        return f"{self.base}:members:{group}"

    def owner(self, group: str, partition: int) -> str:
        """Give the lease of a partition."""
        return f"{self.base}:owner:{group}:{partition}"

    def seen(self, group: str) -> str:
        """Give how far a group is."""
        return f"{self.base}:seen:{group}"


REMEMBERED: Final = 86_400
"""Seconds for which a publisher's last number is kept."""

PUBLISH: Final = f"""
-- KEYS: stream, count, publisher
-- ARGV: partition, longest, publisher, headers, and of each event: number, key, body
local last = tonumber(redis.call('GET', KEYS[3]) or 0)
local count = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
local done, appended, failed = 0, false, ''
for place = 5, #ARGV, 3 do
  local number = tonumber(ARGV[place])
  if number == 0 or number > last then
    local added
    if ARGV[4] == '' then
      added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'n', count + 1,
                          'k', ARGV[place + 1], 'p', ARGV[3], 'i', ARGV[place],
                          'b', ARGV[place + 2])
    else
      added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'n', count + 1,
                          'k', ARGV[place + 1], 'p', ARGV[3], 'i', ARGV[place],
                          'b', ARGV[place + 2], 'h', ARGV[4])
    end
    if added.err then
      failed = added.err
      break
    end
    appended, count, last = true, count + 1, math.max(last, number)
  end
  done = done + 1
end
if appended then
  redis.call('HSET', KEYS[2], ARGV[1], count)
  if last > 0 then redis.call('SET', KEYS[3], last, 'EX', {REMEMBERED}) end
end
return {{done, failed}}
"""
"""Append a publisher's events to a partition, but for those that it has appended before.

Gives how many are there, and why the one behind them could not be appended, if one could not.
"""

TEND: Final = """
-- KEYS: members, owners of partitions. ARGV: member, milliseconds
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - ttl))
redis.call('PEXPIRE', KEYS[1], 10 * ttl)
local owners = {}
for place = 2, #KEYS do
  local owner = redis.call('GET', KEYS[place])
  if owner == ARGV[1] then redis.call('PEXPIRE', KEYS[place], ttl) end
  owners[place - 1] = owner or ''
end
return {redis.call('ZRANGE', KEYS[1], 0, -1), owners}
"""
"""Say that a member lives and renew what it owns; give the members, and the owners."""

RELEASE: Final = """
-- KEYS: owner of a partition. ARGV: member
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
"""Give a partition back, unless it belongs to somebody else by now."""

LEAVE: Final = """
-- KEYS: members, streams. ARGV: member, group
redis.call('ZREM', KEYS[1], ARGV[1])
for place = 2, #KEYS do
  local pending = redis.pcall('XPENDING', KEYS[place], ARGV[2], '-', '+', 1, ARGV[1])
  if not pending.err and #pending == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[place], ARGV[2], ARGV[1])
  end
end
return 1
"""
"""Leave a group; a consumer with entries that nobody has claimed yet stays on its list."""

CLAIM: Final = """
-- KEYS: stream. ARGV: group, member, cursor, count
local page = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3],
                        'COUNT', ARGV[4], 'JUSTID')
return page[1]
"""
"""Claim a page of what others have left, without counting it as delivered; give the cursor."""

ACKNOWLEDGE: Final = """
-- KEYS: seen, streams. ARGV: group, and of each stream: partition, ordinal, how many, entries
local place = 2
for number = 2, #KEYS do
  local partition, ordinal, count = ARGV[place], tonumber(ARGV[place + 1]), ARGV[place + 2]
  redis.call('XACK', KEYS[number], ARGV[1], unpack(ARGV, place + 3, place + 2 + count))
  if ordinal > 0 then redis.call('HSET', KEYS[1], partition, ordinal) end
  place = place + 3 + count
end
return 1
"""
"""Acknowledge entries of several partitions, and note how far the group is."""

BEGIN: Final = """
-- KEYS: stream, count, seen. ARGV: group, partition, start ('0' or '$')
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[3], 'MKSTREAM')
if made.err then
  if string.sub(made.err, 1, 9) == 'BUSYGROUP' then return 0 end
  return made
end
local seen = tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or '0')
if ARGV[3] == '0' then
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  if #first > 0 and first[1][2][1] == 'n' then seen = tonumber(first[1][2][2]) - 1 end
end
redis.call('HSET', KEYS[3], ARGV[2], seen)
return 1
"""
"""Make the group of a partition, and its stream, unless they are there."""

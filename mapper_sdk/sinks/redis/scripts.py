"""The scripts that Redis runs for us; each is one atomic step."""

from typing import Final

__all__ = ["ADD_ONCE", "ADD_TO_SET", "SET_IF_NEWER"]

ADD_ONCE: Final = """
-- KEYS: stream. ARGV: milliseconds, first sequence, length, seconds to remember, field, value, ...
-- The id is the reading's own time. Sequences run from the first one for a thousand, so that
-- several readings of one moment have room. An entry with the same content is the same reading.
local ms, seq = ARGV[1], tonumber(ARGV[2])
local fields = {unpack(ARGV, 5)}
local function same(entry)
  if #entry ~= #fields then return false end
  for i = 1, #fields do if entry[i] ~= fields[i] then return false end end
  return true
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ms .. '-' .. seq, ms .. '-' .. (seq + 999))) do
  if same(entry[2]) then return 0 end
  seq = tonumber(string.match(entry[1], '-(%d+)$')) + 1
end
local function add(id)
  return redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], id, unpack(fields))
end
local done = add(ms .. '-' .. seq)
if type(done) == 'table' and done.err and string.find(done.err, 'equal or smaller', 1, true) then
  -- A later one is there already, and a stream grows at its end only: this one goes behind it.
  -- Its place does not tell any more whether it came before, so the last ones are remembered:
  -- as many as the stream keeps, in the order in which they came.
  local late, mark = KEYS[1] .. ':late', redis.sha1hex(table.concat(fields, '\\0'))
  local last_score = redis.call('ZREVRANGE', late, 0, 0, 'WITHSCORES')[2] or 0
  if redis.call('ZADD', late, 'NX', last_score + 1, mark) == 0 then return 0 end
  redis.call('ZREMRANGEBYRANK', late, 0, -1 - tonumber(ARGV[3]))
  redis.call('EXPIRE', late, ARGV[4])
  local info, last = redis.call('XINFO', 'STREAM', KEYS[1]), nil
  for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
  local top, number = string.match(last, '^(%d+)-(%d+)$')
  done = add(top .. '-' .. string.format('%.0f', tonumber(number) + 1))
end
return done
"""
"""Adds a reading to a stream, unless it is there; answers 0 where it was.

Source:
    Redis commands XADD (an id must be above the last one), XRANGE, XINFO STREAM, SET.
"""

SET_IF_NEWER: Final = """
-- KEYS: hash. ARGV: time in seconds, field, value, ...
local known = redis.call('HGET', KEYS[1], 'time')
if known and tonumber(known) > tonumber(ARGV[1]) then return 0 end
redis.call('HDEL', KEYS[1], 'value', 'reason')
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
"""
"""Sets the fields of a hash, unless what it holds is newer; answers 0 where it is."""

ADD_TO_SET: Final = """
-- KEYS: sorted set. ARGV: length, score, member.
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
return redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[1]))
"""
"""Adds a member to a sorted set and lets the lowest go that are too many."""

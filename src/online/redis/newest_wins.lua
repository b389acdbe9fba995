-- Writes rows of one view, the newest of each entity stays: StoredRow::outlives, beside the data.
--
-- KEYS[1]   the marker of the keys' tag: it is there when some of them may expire
-- KEYS[2…]  the keys of the entities, all of one tag; the newest row of a key first
-- ARGV[1]   the field: the id of the view
-- ARGV[2]   when the rows may expire, in milliseconds since 1970; empty: they stay
-- ARGV[3…]  the rows: the version (25 bytes), then the value, 17 bytes of which say who made it
--
-- Gives how many rows were written, stale and unchanged, and how many entities had none before.
local call, byte, sub, numbers = redis.call, string.byte, string.sub, struct.unpack
local marker, field, at = KEYS[1], ARGV[1], ARGV[2]

-- A version as numbers that compare as it does: Lua's own comparison of strings depends on the
-- server's locale, and its numbers hold no more than 53 bits.
local VERSION = '>I4I4I1I4I4I4I4'

-- What says which definition made a row; nothing, where it is too short to say.
local function definition(row)
  return #row < 42 and '' or sub(row, 26, 42)
end

local function outlives(old, new)
  local a1, a2, a3, a4, a5, a6, a7 = numbers(VERSION, old)
  local b1, b2, b3, b4, b5, b6, b7 = numbers(VERSION, new)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  if a3 ~= b3 then return a3 > b3 end
  if a4 ~= b4 then return a4 > b4 end
  if a5 ~= b5 then return a5 > b5 end
  if definition(old) ~= definition(new) then return false end
  if a6 ~= b6 then return a6 > b6 end
  return a7 > b7
end

local expiring, persisting = at ~= '', false
if expiring then
  call('SET', marker, '1', 'NX')
else
  persisting = call('EXISTS', marker) == 1
end

local written, stale, unchanged, added = 0, 0, 0, 0
-- Whether the key before had no row: then the next one has none either, as a rule, and one command
-- both finds that out and writes.
local absent = false
for i = 2, #KEYS do
  local key, new = KEYS[i], ARGV[i + 1]
  local old, is_stored = false, true
  if absent then
    absent = call('HSETNX', key, field, new) == 1
    if not absent then old = call('HGET', key, field) end
  else
    old = call('HGET', key, field)
    absent = not old
    if absent then call('HSET', key, field, new) end
  end
  if absent then
    written, added = written + 1, added + 1
  elseif old == new then
    unchanged = unchanged + 1
  elseif #old < 25 or byte(old, 9) > 1 then
    return redis.error_reply('CORRUPT ' .. (i - 2))
  elseif outlives(old, new) then
    stale, is_stored = stale + 1, false
  else
    call('HSET', key, field, new)
    written = written + 1
  end
  if expiring then
    -- A key that was not there has no expiry yet; that of another is only ever put off. One without
    -- gets one where this row is all it has: otherwise another view's row in it may have no ttl.
    if absent and call('HLEN', key) == 1 then
      call('PEXPIREAT', key, at)
    elseif call('PEXPIREAT', key, at, 'GT') == 0 and is_stored and call('HLEN', key) == 1 then
      call('PEXPIREAT', key, at, 'NX')
    end
  elseif persisting then
    call('PERSIST', key)
  end
end
return { written, stale, unchanged, added }

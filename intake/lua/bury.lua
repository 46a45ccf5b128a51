#!lua flags=allow-oom
-- Write a dead letter for an entry and acknowledge it: both or neither, and once.
-- KEYS[1] signups (stream)                the entry, acknowledged here
-- KEYS[2] airlane:dead (stream)           the dead letter: reason, source, event.<field>...
-- KEYS[3] airlane:signups:buried (zset)   the entry's id, so that the stream can be trimmed
-- ARGV[1] group   ARGV[2] id of the entry   ARGV[3] reason
-- Returns the id of the dead letter, or false when the entry was not pending any more.
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then
  return false
end
local letter = {'reason', ARGV[3], 'source', ARGV[2]}
-- The fields are copied here, not sent by the client: raw, whole, and only once over the wire.
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if entry then
  local fields = entry[2]
  local known = {event_id = true, entity_id = true, at = true, payload = true}
  for index = 1, #fields, 2 do
    -- unpack() takes some thousand words: of an absurd entry only the contract's fields are kept.
    if #fields <= 2000 or (known[fields[index]] and #letter < 2000) then
      letter[#letter + 1] = 'event.' .. fields[index]
      letter[#letter + 1] = fields[index + 1]
    end
  end
end
redis.call('ZADD', KEYS[3], string.match(ARGV[2], '^%d+'), ARGV[2])
local id = redis.call('XADD', KEYS[2], '*', unpack(letter))
-- Last: should a step before it fail, the entry is still pending.
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return id

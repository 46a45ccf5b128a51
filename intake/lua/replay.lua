-- Put a dead letter's event into the stream again and remove the letter: both or neither, and once.
-- KEYS[1] airlane:dead (stream)   KEYS[2] signups (stream)
-- ARGV[1] id of the dead letter   ARGV[2..] fields and values of the event
-- Returns the id of the new entry, or false when the letter is gone.
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
  return false
end
-- In this order: should the first fail, the letter is still there.
local id = redis.call('XADD', KEYS[2], '*', unpack(ARGV, 2))
redis.call('XDEL', KEYS[1], ARGV[1])
return id

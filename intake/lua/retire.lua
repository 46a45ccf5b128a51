-- Remove a consumer that has nothing pending; deleting one that has would lose its entries.
-- KEYS[1] signups (stream)   ARGV[1] group   ARGV[2] consumer   ARGV[3] least idle time in ms
-- Returns 1 when the consumer was removed.
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local found = {}
  for index = 1, #consumer, 2 do
    found[consumer[index]] = consumer[index + 1]
  end
  if found.name == ARGV[2] and found.pending == 0 and found.idle >= tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
    return 1
  end
end
return 0

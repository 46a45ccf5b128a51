#!lua flags=allow-oom
-- Add decisions to the stream unless they are there, and the dead letters of those that are errors.
-- KEYS[1] decisions (stream)      entry ids are `<position>-0`
-- KEYS[2] airlane:dead (stream)   one letter for each error that is added
-- ARGV[1] base: the position before the first one here, 0 when PostgreSQL knows none
-- ARGV[2..] for each decision, by rising position: position, number of words, words of the entry,
--           number of words, words of its dead letter (0 when it needs none)
-- Returns one of: {'behind', last} when the stream lacks the base, nothing is added then; or a word
-- for each decision: 'added', 'same' (it is there already), 'other' (its id is another event's).
local last = 0
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for index = 1, #info, 2 do
    if info[index] == 'last-generated-id' then
      last = tonumber(string.match(info[index + 1], '^%d+'))
    end
  end
end
if last < tonumber(ARGV[1]) then
  return {'behind', tostring(last)}
end
local answers = {}
local at = 2
local function words()
  local count = tonumber(ARGV[at])
  local from = at + 1
  at = from + count
  return count, from, at - 1
end
while at <= #ARGV do
  local position = ARGV[at]
  local id = position .. '-0'
  at = at + 1
  local _, entry, entry_end = words()
  local letters, letter, letter_end = words()
  if tonumber(position) > last then
    redis.call('XADD', KEYS[1], id, unpack(ARGV, entry, entry_end))
    if letters > 0 then
      redis.call('XADD', KEYS[2], '*', unpack(ARGV, letter, letter_end))
    end
    last = tonumber(position)
    answers[#answers + 1] = 'added'
  else
    local found = redis.call('XRANGE', KEYS[1], id, id)[1]
    -- The first field is the event's id: see intake/keys.py.
    if found and found[2][2] == ARGV[entry + 1] then
      answers[#answers + 1] = 'same'
    else
      answers[#answers + 1] = 'other'
    end
  end
end
return answers

-- Hands out frames of one queue to one worker.
-- KEYS: 1-3 streams, 4 counters, 5 running, 6 cancelled ids
-- ARGV: worker, jobs wanted, the three levels in the order to look at them
-- Returns {ms now, how many ids are to be cancelled, then level, entry, frame of each}.
local time = redis.call('TIME')
local answer = {time[1] * 1000 + math.floor(time[2] / 1000), redis.call('SCARD', KEYS[6])}
if redis.call('HGET', KEYS[4], 'paused') then return answer end
local wanted = tonumber(ARGV[2])
for place = 3, 5 do
  local level = tonumber(ARGV[place])
  local stream = KEYS[1 + level]
  local size = wanted
  while wanted > 0 do
    local count = math.max(1, math.floor(wanted / size))
    local read = redis.pcall('XREADGROUP', 'GROUP', 'workers', ARGV[1], 'COUNT', count, 'STREAMS', stream, '>')
    if type(read) == 'table' and read.err then
      if not string.find(read.err, 'NOGROUP', 1, true) then return redis.error_reply(read.err) end
      redis.call('XGROUP', 'CREATE', stream, 'workers', '0', 'MKSTREAM')
      read = redis.call('XREADGROUP', 'GROUP', 'workers', ARGV[1], 'COUNT', count, 'STREAMS', stream, '>')
    end
    if not read then break end
    for _, entry in ipairs(read[1][2]) do
      local n, frame = 1, ''
      for field = 1, #entry[2], 2 do
        if entry[2][field] == 'n' then n = tonumber(entry[2][field + 1]) else frame = entry[2][field + 1] end
      end
      redis.call('HSET', KEYS[5], level .. ':' .. entry[1], n .. ' ' .. answer[1] .. ' ' .. ARGV[1])
      answer[#answer + 1] = level
      answer[#answer + 1] = entry[1]
      answer[#answer + 1] = frame
      wanted = wanted - n
      size = math.max(1, n)
    end
  end
end
return answer

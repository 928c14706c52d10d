-- Hands out frames of one queue to one worker.
-- KEYS: 1-3 streams, 4 counters, 5 running, 6 cancelled ids
-- ARGV: worker, jobs wanted, the three levels in the order to look at them
-- Returns {ms now, how many ids are to be cancelled, ms until the queue's rate lets a job through or 0, then level, entry,
--   frame of each}.
local time = redis.call('TIME')
local answer = {time[1] * 1000 + math.floor(time[2] / 1000), redis.call('SCARD', KEYS[6]), 0}
local set = redis.call('HMGET', KEYS[4], 'paused', 'running_max', 'rate_jobs', 'rate_ms', 'turn_us')
if set[1] then return answer end
local wanted = tonumber(ARGV[2])
if set[2] then
  local running = 0
  for _, held in ipairs(redis.call('HVALS', KEYS[5])) do running = running + tonumber(string.match(held, '^%d+')) end
  wanted = math.min(wanted, tonumber(set[2]) - running)
end
local now_us, step, turn = time[1] * 1000000 + time[2], 0, 0
if set[3] then
  -- A job may be early by the whole period less its own step; times are kept in whole microseconds, rounded down.
  local period = set[4] * 1000
  step = period / set[3]
  turn = math.max(now_us, tonumber(set[5] or 0))
  local turns = math.floor((now_us + period - turn) / step + 0.000001)
  if turns < 1 then
    answer[3] = math.max(1, math.ceil((turn + step - period - now_us) / 1000))
    return answer
  end
  wanted = math.min(wanted, turns)
end
local most = wanted
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
        if entry[2][field] == 'n' then n = tonumber(entry[2][field + 1])
        elseif entry[2][field] == 'f' then frame = entry[2][field + 1] end
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
if set[3] and wanted < most then
  redis.call('HSET', KEYS[4], 'turn_us', string.format('%.0f', math.floor(turn + (most - wanted) * step)))
end
return answer

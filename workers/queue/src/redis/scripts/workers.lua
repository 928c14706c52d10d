-- Reports of the workers heard of lately; forgets the others.
-- KEYS: 1 reports (hash), 2 last seen (sorted set); ARGV: longest silence in ms
-- Returns report and ms of silence of each.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local silent = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1], 'LIMIT', 0, 256)
for _, worker in ipairs(silent) do
  redis.call('HDEL', KEYS[1], worker)
  redis.call('ZREM', KEYS[2], worker)
end
local answer = {}
local seen = redis.call('ZRANGE', KEYS[2], 0, 9999, 'WITHSCORES')
for at = 1, #seen, 2 do
  local report = redis.call('HGET', KEYS[1], seen[at])
  if report then
    answer[#answer + 1] = report
    answer[#answer + 1] = math.max(0, now - tonumber(seen[at + 1]))
  end
end
return answer

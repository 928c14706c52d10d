-- Takes the turn of jobs at rates that all processes share; of each job at all of its rates or at none.
-- KEYS: the rates of all claims, one claim after the other
-- ARGV: for each claim how many rates it has, then jobs and ms of each
-- Returns for each claim 0 when its job may start, else the ms that it has to wait.
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local answers, key, at = {}, 1, 1
while at <= #ARGV do
  local count, wait, turns = tonumber(ARGV[at]), 0, {}
  for n = 1, count do
    local period = tonumber(ARGV[at + 2 * n]) * 1000
    local step = period / tonumber(ARGV[at + 2 * n - 1])
    turns[n] = math.max(us, tonumber(redis.call('GET', KEYS[key + n - 1]) or 0)) + step
    wait = math.max(wait, turns[n] - period - us)
  end
  -- The times are kept in whole microseconds, rounded down.
  if wait < 1 then
    wait = 0
    for n = 1, count do
      redis.call('SET', KEYS[key + n - 1], string.format('%.0f', math.floor(turns[n])), 'PX',
        math.ceil((turns[n] - us) / 1000) + 1)
    end
  end
  answers[#answers + 1] = math.ceil(wait / 1000)
  at = at + 1 + 2 * count
  key = key + count
end
return answers

-- A sliding window of one key: a list of the instants at which requests were accepted, oldest first.
--
-- KEYS[1]  the window
-- ARGV     limit, requests asked for, length of the window, requests that the asking process itself
--          holds for accepted, and in tests alone the instant to take for now
-- Returns  1 or 0 for accepted or not, places left, time until the oldest leaves, time to wait
-- Times are whole microseconds; instants are counted from 1970.
local key = KEYS[1]
local limit, n, window, held = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(ARGV[5])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Lua's own spelling of large numbers drops digits.
local function whole(number)
  return string.format('%.0f', number)
end

local function expire(last)
  redis.call('PEXPIREAT', key, whole(math.ceil((last + window) / 1000)))
end

local last = redis.call('LINDEX', key, -1)
if last and tonumber(last) > now then
  -- The clock was set back. Nobody knows how long ago the last request was: it counts as of now, and
  -- the others keep their distance to it. So no more is accepted, and nobody waits for the old time.
  local back = tonumber(last) - now
  local times = redis.call('LRANGE', key, 0, -1)
  redis.call('DEL', key)
  for _, time in ipairs(times) do
    redis.call('RPUSH', key, whole(tonumber(time) - back))
  end
  expire(now)
end

local function at(index)
  return tonumber(redis.call('LINDEX', key, index))
end

local size = redis.call('LLEN', key)
if size > 0 and now - at(0) >= window then
  local gone, kept = 0, size
  while gone < kept do
    local middle = math.floor((gone + kept) / 2)
    if now - at(middle) >= window then
      gone = middle + 1
    else
      kept = middle
    end
  end
  redis.call('LTRIM', key, gone, -1)
  size = size - gone
end
local oldest = size > 0 and at(0) or now

local used = math.max(size, held)
local over = used + n - limit
if n > limit or over > 0 then
  local wait = 0
  if n > limit then
    wait = window
  elseif size + n > limit then
    wait = at(size + n - limit - 1) + window - now
  end
  return { 0, math.max(limit - used, 0), size > 0 and oldest + window - now or 0, wait }
end

for _ = 1, n do
  redis.call('RPUSH', key, whole(now))
end
if n > 0 then
  expire(now)
end
return { 1, limit - used - n, size + n > 0 and oldest + window - now or 0, 0 }

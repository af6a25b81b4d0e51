-- Posts a body of its own with each request; `wrk` runs this file. The argument is a word for the run.
local run, number, thread = "", 0, 0

function setup(one)
  one:set("thread", thread)
  thread = thread + 1
end

function init(arguments)
  run = arguments[1]
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  number = number + 1
  local id = string.format("%s-%02d-%019d", run, thread, number)
  return wrk.format(nil, nil, nil, '{"statuses":[{"id":"' .. id .. '","code":3,"status":"sent",'
    .. '"recipient_id":"420700000001@s.whatsapp.net","timestamp":"1790000000"}],'
    .. '"event":{"type":"statuses","event":"post"},"channel_id":"MANTIS-M72HC"}')
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format("%d %d %d %f %f %f\n", summary.requests,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.duration / 1e6))
end

-- Sends the lines of a file in turn: wrk … -- FILE API-KEY
local requests, at = {}, 0

function init(args)
    local headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. args[2] }
    for body in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("POST", "/v1/decide", headers, body)
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

-- requests, microseconds, the 99th percentile in microseconds, answers that count for nothing
function done(summary, latency)
    local errors = summary.errors
    local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    print(string.format("RESULT %d %d %d %d", summary.requests, summary.duration, latency:percentile(99), bad))
end

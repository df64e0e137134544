-- Health of Sessions for Argo CD: a run that goes on is Progressing, one that waits for a person is Suspended, its end is Healthy
-- when it is what was asked for (an answer, or the cancel in spec) and Degraded otherwise.
local health = {status = "Progressing", message = "Waiting for the operator."}
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local succeeded, finished = nil, nil
for _, condition in ipairs(status.conditions) do
  if condition.type == "Succeeded" then succeeded = condition end
  if condition.type == "Finished" then finished = condition end
end
if succeeded == nil or finished == nil then
  return health
end
local text = succeeded.reason
if succeeded.message ~= "" then
  text = text .. ": " .. succeeded.message
end
if finished.status == "True" then
  if succeeded.status == "True" or succeeded.reason == "Cancelled" then
    return {status = "Healthy", message = text}
  end
  return {status = "Degraded", message = text}
end
if succeeded.reason == "AwaitingInput" or succeeded.reason == "AwaitingToolResult" or succeeded.reason == "AwaitingApproval" or succeeded.reason == "Suspended" then
  return {status = "Suspended", message = text}
end
return {status = "Progressing", message = text}

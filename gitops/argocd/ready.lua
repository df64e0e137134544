-- Health of Agents and Environments for Argo CD: their condition Ready, as far as it speaks of the spec that was applied.
local health = {status = "Progressing", message = "Waiting for the operator."}
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local ready, reconciling, stalled = nil, nil, nil
for _, condition in ipairs(status.conditions) do
  if condition.type == "Ready" then ready = condition end
  if condition.type == "Reconciling" and condition.status == "True" then reconciling = condition end
  if condition.type == "Stalled" and condition.status == "True" then stalled = condition end
end
if stalled ~= nil then
  return {status = "Degraded", message = stalled.reason .. ": " .. stalled.message}
end
if reconciling ~= nil then
  return {status = "Progressing", message = reconciling.message}
end
if ready ~= nil and ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
if ready ~= nil and ready.status == "False" then
  return {status = "Degraded", message = ready.reason .. ": " .. ready.message}
end
return health

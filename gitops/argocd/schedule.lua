-- Health of Schedules for Argo CD: whether they are able to fire. How the newest run ended is told by the Session itself and does not
-- degrade the application.
local health = {status = "Progressing", message = "Waiting for the operator."}
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local ready = nil
for _, condition in ipairs(status.conditions) do
  if condition.type == "Ready" then ready = condition end
end
if ready == nil then
  return health
end
if ready.status == "False" then
  return {status = "Degraded", message = ready.reason .. ": " .. ready.message}
end
if obj.spec.suspend == true then
  return {status = "Suspended", message = "spec.suspend is true."}
end
if ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
return health

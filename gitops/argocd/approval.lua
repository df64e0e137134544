-- Health of Approvals for Argo CD: one that waits for a person is Suspended; decided, expired or withdrawn, it is over.
local waiting = {status = "Suspended", message = "Waiting for a decision on " .. obj.spec.tool .. "."}
if obj.status == nil then
  return waiting
end
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.type == "Resolved" and condition.status == "True" then
    return {status = "Healthy", message = condition.reason .. ": " .. condition.message}
  end
end
if obj.status.decision ~= nil then
  return {status = "Progressing", message = obj.status.decision.decision .. " by " .. obj.status.decision.decidedBy .. "; the log is to take it in."}
end
return waiting

-- Health of Approvals for Argo CD: one that nobody has decided waits for a person, whatever was decided is an answer.
if obj.status ~= nil and obj.status.decision ~= nil then
  return {status = "Healthy", message = obj.status.decision.decision .. " by " .. obj.status.decision.decidedBy}
end
return {status = "Suspended", message = "Waiting for a decision on " .. obj.spec.tool .. "."}

// Asks @cloud-copilot/iam-simulate what IAM would answer. A line in, {principal, account, action, resource, context,
// identityPolicies, resourcePolicy, boundary, serviceControlPolicy}; a line out, {"result": "Allowed"} or {"error": "..."}.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const from = createRequire(process.env.IAM_SIMULATE + '/package.json')
const { runSimulation } = await import(pathToFileURL(from.resolve('@cloud-copilot/iam-simulate')))

const named = (policies) => (policies ?? []).map((policy, i) => ({ name: `policy ${i}`, policy }))
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line)
  let answer
  try {
    const scp = asked.serviceControlPolicy
    const r = await runSimulation({
      request: {
        principal: asked.principal, action: asked.action,
        resource: { resource: asked.resource, accountId: asked.account }, contextVariables: asked.context ?? {},
      },
      identityPolicies: named(asked.identityPolicies),
      serviceControlPolicies: scp ? [{ orgIdentifier: 'o-1', policies: [{ name: 'scp', policy: scp }] }] : [],
      resourceControlPolicies: [],
      resourcePolicy: asked.resourcePolicy ?? undefined,
      permissionBoundaryPolicies: asked.boundary ? named([asked.boundary]) : undefined,
    }, {})
    const result = r.overallResult ?? r.result?.analysis?.result ?? r.analysis?.result
    answer = r.resultType === 'error' || !result ? { error: JSON.stringify(r.errors ?? r) } : { result }
  } catch (e) {
    answer = { error: e.message }
  }
  console.log(JSON.stringify(answer))
}

/** Sends a workflow as a client does, from its plan. */
import { randomUUID } from 'node:crypto'
import { outgoingOf } from '../../dist/app/continue/outgoing.js'
import { planSignature } from '../../dist/canvas/planner.js'
import { signatureOf } from '../../dist/canvas/signature.js'
import { Celeriac } from '../../dist/index.js'
import type { ResultTuple } from '../../dist/protocol/result.js'
import { parseSignature } from '../../dist/protocol/signature.js'
import { decodeJson, encodeJson } from '../../dist/serializers/json.js'

/** Its result: the id of a task, or of a group with those of its members. */
export async function send(app: Celeriac, sig: unknown): Promise<ResultTuple> {
  const { core, sender } = Celeriac.internals(app)
  const backend = await core.connections.backend()
  const wire = parseSignature(decodeJson(encodeJson(signatureOf(sig as never).toJSON(), 'signature')), 'signature')
  const plan = planSignature(wire, { newId: () => randomUUID() })
  for (const step of plan.steps) {
    if (step.kind === 'chord') await backend.startChord(step.groupId, { size: step.size, expiresSeconds: 600 })
    else if (step.kind === 'saveGroup') await backend.saveGroup(step.tuple, { expiresSeconds: 600 })
    else await sender.publish(await sender.prepare(outgoingOf(core, step.call), step.call.id))
  }
  return plan.result
}

/** The value of a result: of a group the list of its members'. Throws as `get()`. */
export async function resultOf(app: Celeriac, [[id], members]: ResultTuple): Promise<unknown> {
  if (members === null) return app.result(id).get({ timeout: 20 })
  return Promise.all(members.map((member) => resultOf(app, member)))
}

export async function run(app: Celeriac, sig: unknown): Promise<unknown> {
  return resultOf(app, await send(app, sig))
}

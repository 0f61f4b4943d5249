import type { PlannedCall } from '../../canvas/plan.js'
import { JsonText } from '../../protocol/json-text.js'
import { decodeJson } from '../../serializers/json.js'
import type { AppCore } from '../core.js'
import type { OutgoingCall } from '../outgoing-call.js'
import { applyOptionsOf } from '../signature-options.js'

/** A planned message as a call to be sent: its task's own options and schema, where it is known here. */
export function outgoingOf(core: AppCore, call: PlannedCall): OutgoingCall {
  const definition = core.registry.get(call.task)
  const looksAtArguments = definition?.argsSchema !== undefined || definition?.kwargsSchema !== undefined
  return {
    task: call.task,
    definition,
    // The result of the task before it is passed on as it is written, and read only for a schema.
    args: looksAtArguments ? call.args.map((value) => (value instanceof JsonText ? decodeJson(value.text) : value)) : call.args,
    kwargs: call.kwargs,
    options: applyOptionsOf(call.options),
    embed: call.embed,
    rootId: call.rootId ?? undefined,
    parentId: call.parentId ?? undefined,
    groupId: call.groupId ?? undefined,
    groupIndex: call.groupIndex ?? undefined,
    replacedTaskNesting: call.replacedTaskNesting,
    replyTo: call.replyTo ?? undefined,
  }
}

/** Signatures from their JSON, as `toJSON()` or Python wrote it. */
import { checkSignatures, parseSignature, type WireSignature } from '../protocol/signature.js'
import { bodyOf, headerOf, kindOf, listAt, tasksOf } from './members.js'
import type { AnyLink } from './sig.js'
import { type Call, Signature, type SignatureSender } from './signature.js'

/** Throws InvalidMessageError for what is no signature, and for one that is too large or too deep. */
export function signatureFrom(json: unknown, sender: SignatureSender): Signature {
  if (json instanceof Signature) return json
  checkSignatures([['signature', json]])
  return read(json, 'signature', sender)
}

function read(value: unknown, where: string, sender: SignatureSender): Signature {
  const wire = parseSignature(value, where)
  const { link, link_error: errbacks, stamped_headers: _, ...rest } = wire.options
  // A link may take anything: what it gets is the result of the task it is linked to.
  const links = (given: unknown, name: string): AnyLink[] =>
    listAt({ given }, 'given').map((one, index) => read(one, `${where}.options.${name}[${index}]`, sender) as unknown as AnyLink)
  const stamps: Record<string, unknown> = {}
  const plumbing: Record<string, unknown> = {}
  const names = new Set(listAt(wire.options, 'stamped_headers'))
  for (const [name, option] of Object.entries(rest)) (names.has(name) ? stamps : plumbing)[name] = option
  const kind = kindOf(wire)
  return new Signature(
    {
      task: wire.task,
      args: wire.args,
      kwargs: { ...wire.kwargs, ...members(wire, where, sender) },
      options: {
        ...(link === undefined ? {} : { link: links(link, 'link') }),
        ...(errbacks === undefined ? {} : { linkError: links(errbacks, 'link_error') }),
        ...(names.size === 0 ? {} : { stamps }),
      },
      subtaskType: kind === 'task' ? null : kind,
      immutable: wire.immutable,
      ...(Object.keys(plumbing).length === 0 ? {} : { plumbing }),
    },
    sender,
  )
}

function members(wire: WireSignature, where: string, sender: SignatureSender): Partial<Call['kwargs']> {
  switch (kindOf(wire)) {
    case 'task':
      return {}
    case 'chord':
      return { header: read(headerOf(wire), `${where}.kwargs.header`, sender), body: read(bodyOf(wire), `${where}.kwargs.body`, sender) }
    default:
      return { tasks: tasksOf(wire).map((task, index) => read(task, `${where}.kwargs.tasks[${index}]`, sender)) }
  }
}

/** Keys of limits and of unique tasks: text in which `{name}` and `{0}` stand for arguments of the call. */
import { createHash } from 'node:crypto'
import { JsonText } from '../protocol/json-text.js'
import { decodeJson } from '../serializers/json.js'
import type { Arguments } from './arguments.js'

const placeholder = /\{([A-Za-z_$][\w$]*|\d+)((?:\.[\w$]+)*)\}/g
/** A longer one goes as its hash: names are keys of a store. */
const longest = 200

/** `missing`: the first placeholder that the call has no value for; it stands there as empty text. All else in braces is plain text. */
export function keyOf(template: string, call: Arguments, params: readonly string[]): { readonly key: string; readonly missing?: string } {
  let missing: string | undefined
  const filled = template.replace(placeholder, (whole, name: string, path: string) => {
    let value = argument(call, name, params)
    if (value instanceof JsonText) value = decodeJson(value.text)
    for (const part of path.split('.').slice(1))
      value = typeof value === 'object' && value !== null && Object.hasOwn(value, part) ? Reflect.get(value, part) : undefined
    if (value !== undefined) return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
    missing ??= whole
    return ''
  })
  const key = filled.length <= longest ? filled : `sha256:${createHash('sha256').update(filled).digest('hex')}`
  return missing === undefined ? { key } : { key, missing }
}

/** By position or by name, however the caller gave it. */
function argument({ args, kwargs }: Arguments, name: string, params: readonly string[]): unknown {
  const isPosition = /^\d/.test(name)
  const position = isPosition ? Number(name) : params.indexOf(name)
  const byName = isPosition ? params[position] : name
  if (byName !== undefined && Object.hasOwn(kwargs, byName)) return kwargs[byName]
  return position < 0 ? undefined : args[position]
}

/** What the templates are for a call, as it goes with its message: workers need not look into the body. */
export function keysOf(templates: readonly string[], call: Arguments, params: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(templates.map((template) => [template, keyOf(template, call, params).key]))
}

/**
 * Values as Python's repr would show them: `(1, 'two', [None, True])`. Logs, events and Flower show these texts verbatim.
 * Never throws, never runs a getter's error into the caller, and stops at a length and a depth, so that it is safe for any value.
 */

export interface ReprLimits {
  /** Characters, before the brackets that are still open are closed. */
  readonly maxLength?: number
  /** Containers deeper than this are shown as `{...}`. */
  readonly maxDepth?: number
}

/** A value, with a list for an array and a dict for an object. */
export function repr(value: unknown, { maxLength = 1024, maxDepth = 3 }: ReprLimits = {}): string {
  return new Writer(maxLength, maxDepth).write(value)
}

/** Positional arguments, as a tuple: `(1, 2)`, `(1,)`, `()`. */
export function reprArgs(args: readonly unknown[], { maxLength = 1024, maxDepth = 3 }: ReprLimits = {}): string {
  return new Writer(maxLength, maxDepth).writeTuple(args)
}

class Writer {
  #text = ''
  /** Objects on the way down, so that a cycle is shown and not followed. */
  readonly #open: object[] = []
  constructor(
    readonly maxLength: number,
    readonly maxDepth: number,
  ) {}

  write(value: unknown): string {
    this.#value(value)
    return this.#text
  }

  writeTuple(values: readonly unknown[]): string {
    this.#list(values, '(', values.length === 1 ? ',)' : ')')
    return this.#text
  }

  #value(value: unknown): void {
    switch (typeof value) {
      case 'string':
        this.#text += this.#quoted(value)
        return
      case 'number':
        this.#text += reprNumber(value)
        return
      case 'boolean':
        this.#text += value ? 'True' : 'False'
        return
      case 'bigint':
        this.#text += value.toString()
        return
      case 'function':
      case 'symbol':
        this.#text += `<${typeof value}>`
        return
      default:
        if (value === null || value === undefined) this.#text += 'None'
        else this.#object(value)
    }
  }

  #object(value: object): void {
    try {
      if (Array.isArray(value)) this.#list(value, '[', ']')
      else if (value instanceof Uint8Array) this.#text += this.#bytes(value)
      else if (value instanceof Date) this.#text += reprDate(value)
      else if (value instanceof Set) this.#list([...value], value.size === 0 ? 'set(' : '{', value.size === 0 ? ')' : '}')
      else if (value instanceof Map) this.#entries([...value])
      else if (value instanceof Error) this.#text += `${value.name}(${this.#quoted(String(value.message))})`
      else this.#entries(Object.entries(value))
    } catch {
      // A proxy, getter or toString that throws.
      this.#text += '<unrepresentable>'
    }
  }

  #list(values: readonly unknown[], start: string, end: string): void {
    if (!this.#enter(values, start, end)) return
    for (let index = 0; index < values.length; index++) {
      if (index > 0 && !this.#separate()) break
      this.#value(values[index])
    }
    this.#leave(end)
  }

  #entries(entries: readonly (readonly [unknown, unknown])[]): void {
    if (!this.#enter(entries, '{', '}')) return
    for (let index = 0; index < entries.length; index++) {
      if (index > 0 && !this.#separate()) break
      this.#value(entries[index]?.[0])
      this.#text += ': '
      this.#value(entries[index]?.[1])
    }
    this.#leave('}')
  }

  #enter(value: object, start: string, end: string): boolean {
    if (this.#open.length >= this.maxDepth || this.#open.includes(value)) {
      this.#text += `${start}...${end === ',)' ? ')' : end}`
      return false
    }
    this.#open.push(value)
    this.#text += start
    return true
  }

  #leave(end: string): void {
    this.#open.pop()
    this.#text += end
  }

  /** False when the length is used up: what follows is told by dots. */
  #separate(): boolean {
    const room = this.#text.length < this.maxLength
    this.#text += room ? ', ' : ', ...'
    return room
  }

  /** One string never takes more than the whole length; what is cut ends in dots. */
  #quoted(text: string): string {
    const room = Math.max(16, this.maxLength - this.#text.length)
    const shown = text.length > room ? `${text.slice(0, room - 3).replace(/[\ud800-\udbff]$/, '')}...` : text
    return shown.includes("'") ? `'${shown.replaceAll("'", "\\'")}'` : `'${shown}'`
  }

  #bytes(bytes: Uint8Array): string {
    const shown = Buffer.from(bytes.subarray(0, Math.max(16, this.maxLength - this.#text.length)))
    const ascii = shown.every((byte) => byte >= 0x20 && byte < 0x7f)
    return `b'${ascii ? shown.toString('latin1').replaceAll("'", "\\'") : shown.toString('hex')}${shown.length < bytes.length ? '...' : ''}'`
  }
}

function reprNumber(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  const text = String(value)
  // Python pads the exponent of small numbers: 1e-07.
  return text.includes('e-') ? text.replace(/e-(\d)$/, 'e-0$1') : text
}

const reprDate = (value: Date): string => (Number.isNaN(value.getTime()) ? 'datetime(invalid)' : `datetime(${value.toISOString()})`)

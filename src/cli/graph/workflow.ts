/** A workflow as a graph: which task follows which, what is counted, and what is sent only when something fails. */
import { bodyOf, headerOf, kindOf, listAt, signatureAt, tasksOf } from '../../canvas/members.js'
import { checkSignatures, type WireSignature } from '../../protocol/signature.js'
import type { Edge, Graph, Node } from './dot.js'

/** Where a part of a workflow begins and ends. */
interface Part {
  readonly first: readonly string[]
  readonly last: readonly string[]
}

/** `json`: a signature as `toJSON()` wrote it, here or in Python. Throws InvalidMessageError. */
export function workflowGraph(json: unknown): Graph {
  checkSignatures([['the signature', json]])
  return new Drawing().graph(signatureAt(json, 'the signature'))
}

class Drawing {
  readonly #nodes: Node[] = []
  readonly #edges: Edge[] = []

  graph(signature: WireSignature): Graph {
    this.#draw(signature)
    return { name: signature.task, nodes: this.#nodes, edges: this.#edges }
  }

  #draw(signature: WireSignature): Part {
    switch (kindOf(signature)) {
      case 'task':
        return this.#withLinks(signature, this.#task(signature))
      case 'chain':
        return this.#withLinks(signature, this.#chain(tasksOf(signature).map((task, index) => signatureAt(task, `tasks[${index}]`))))
      case 'group':
        return this.#withLinks(signature, this.#group(signature))
      case 'chord':
        return this.#withLinks(signature, this.#chord(signature))
    }
  }

  #task({ task, args, kwargs, immutable, options }: WireSignature): Part {
    const given = [...args.map((arg) => short(arg)), ...Object.entries(kwargs).map(([name, value]) => `${name}: ${short(value)}`)]
    const queue = typeof options.queue === 'string' ? `\nqueue ${options.queue}` : ''
    const id = this.#add({ label: `${task}(${immutable ? '' : '… '}${given.join(', ')})${queue}`.replace('… )', '…)') })
    return { first: [id], last: [id] }
  }

  #chain(steps: readonly WireSignature[]): Part {
    const parts: Part[] = []
    for (const [index, step] of steps.entries()) {
      const part = this.#draw(step)
      const before = parts.at(-1)
      if (before !== undefined) {
        // A group with something behind it is a chord.
        const isCounted = kindOf(steps[index - 1] ?? step) === 'group'
        const from = isCounted ? [this.#join(before.last)] : before.last
        this.#connect(from, part.first)
      }
      parts.push(part)
    }
    return { first: parts[0]?.first ?? [], last: parts.at(-1)?.last ?? [] }
  }

  #group(signature: WireSignature): Part {
    const parts = tasksOf(signature).map((task, index) => this.#draw(signatureAt(task, `tasks[${index}]`)))
    return { first: parts.flatMap(({ first }) => first), last: parts.flatMap(({ last }) => last) }
  }

  #chord(signature: WireSignature): Part {
    const header = this.#group(headerOf(signature))
    const body = this.#draw(bodyOf(signature))
    this.#connect([this.#join(header.last)], body.first)
    return { first: header.first, last: body.last }
  }

  /** Where the results of all are waited for. */
  #join(last: readonly string[]): string {
    const id = this.#add({ label: `all ${last.length}`, shape: 'ellipse', color: 'lightgrey' })
    this.#connect(last, [id])
    return id
  }

  #withLinks({ options }: WireSignature, part: Part): Part {
    for (const [option, label] of [
      ['link', 'link'],
      ['link_error', 'on error'],
    ] as const)
      for (const [index, link] of listAt(options, option).entries()) {
        const linked = this.#draw(signatureAt(link, `${option}[${index}]`))
        for (const from of part.last)
          for (const to of linked.first) this.#edges.push({ from, to, label, ...(option === 'link_error' ? { isMaybe: true } : {}) })
      }
    return part
  }

  #add(node: Omit<Node, 'id'>): string {
    const id = `n${this.#nodes.length + 1}`
    this.#nodes.push({ id, ...node })
    return id
  }

  #connect(from: readonly string[], to: readonly string[]): void {
    for (const a of from) for (const b of to) this.#edges.push({ from: a, to: b })
  }
}

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 24 ? `${text.slice(0, 23)}…` : text
}

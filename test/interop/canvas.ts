/** Canvases as data that both languages read (python/canvas_of.py, node/canvas-of.mjs), and where their tasks run. */
import type { CanvasData } from './node/canvas-of.mjs'

export type { CanvasData }

export type Language = 'python' | 'node'

/** Which worker runs the next task of a canvas. */
export type Placement = 'python' | 'node' | 'alternating'

/** Makes signatures that run where the placement says. */
export class Places {
  #made = 0
  readonly #placement: Placement
  readonly #first: Language

  constructor(placement: Placement, first: Language = 'python') {
    this.#placement = placement
    this.#first = first
  }

  next(): Language {
    if (this.#placement !== 'alternating') return this.#placement
    const other = this.#first === 'python' ? 'node' : 'python'
    return this.#made++ % 2 === 0 ? this.#first : other
  }

  task(task: string, args: readonly unknown[] = [], more: Partial<CanvasData> = {}): CanvasData {
    return { task, args, ...more, options: { queue: this.next(), ...more.options } }
  }

  mark(tag: string, more: Partial<CanvasData> = {}): CanvasData {
    return this.task('interop.mark', [tag], more)
  }

  marks(...tags: string[]): CanvasData[] {
    return tags.map((tag) => this.mark(tag))
  }
}

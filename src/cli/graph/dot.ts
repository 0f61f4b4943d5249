/** A graph as data, and in the DOT language of Graphviz. */

export interface Node {
  readonly id: string
  /** Lines of text. */
  readonly label: string
  /** Of Graphviz: `box`, `ellipse`, `folder`. Default: `box`. */
  readonly shape?: string
  /** Of Graphviz: `lightblue`. */
  readonly color?: string
}

export interface Edge {
  readonly from: string
  readonly to: string
  readonly label?: string
  /** What happens only then: drawn with dashes. */
  readonly isMaybe?: true
}

export interface Graph {
  readonly name: string
  readonly nodes: readonly Node[]
  readonly edges: readonly Edge[]
}

export function toDot({ name, nodes, edges }: Graph): string {
  const lines = [
    ...nodes.map(({ id, label, shape = 'box', color }) => `${quoted(id)} ${attributes({ label, shape, fillcolor: color })}`),
    ...edges.map(({ from, to, label, isMaybe }) => {
      const given = attributes({ label, style: isMaybe === true ? 'dashed' : undefined })
      return `${quoted(from)} -> ${quoted(to)}${given === '[]' ? '' : ` ${given}`}`
    }),
  ]
  return [
    `digraph ${quoted(name)} {`,
    '  rankdir=LR',
    '  node [style="filled,rounded", fillcolor=white, fontname="sans-serif"]',
    ...lines.map((line) => `  ${line}`),
    '}',
  ].join('\n')
}

function attributes(given: Readonly<Record<string, string | undefined>>): string {
  const texts = Object.entries(given).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${quoted(value)}`]))
  return `[${texts.join(', ')}]`
}

function quoted(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`
}

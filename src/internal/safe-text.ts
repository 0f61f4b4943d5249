/** What comes from the wire may hold anything: control characters would move the cursor, write titles, or turn the direction of what is read. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const unsafe = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** On one line, and not longer than that. */
export function safeText(text: string, longest = 4_000): string {
  const shown = text.length > longest ? `${text.slice(0, longest)}…` : text
  return shown.replaceAll(unsafe, escaped)
}

/** The same of a text of several lines, which it keeps. */
export function safeLines(text: string): string {
  return text.replaceAll(unsafe, (character) => (character === '\n' || character === '\t' ? character : escaped(character)))
}

function escaped(character: string): string {
  if (character === '\n') return '\\n'
  if (character === '\t') return '\\t'
  const code = character.charCodeAt(0)
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

/** A URL that may be shown: its password, and query values whose name says that they are secret, are `**`. Works on text that is no valid URL, too. */
export function redactUrl(url: string): string {
  return url
    .replace(/^([a-z0-9+.-]*:?\/\/)?([^:@]*):.*@/i, '$1$2:**@')
    .replaceAll(/([?&][^=&]*(?:pass|secret|token|key|signature)[^=&]*=)[^&]*/gi, '$1**')
}

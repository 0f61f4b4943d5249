/** What a shell is to run so that Tab completes command lines of celeriac. Each asks `celeriac completion --suggest <line up to the cursor>`. */

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

/** Where each is put, for the help. */
export const places: Readonly<Record<Shell, string>> = {
  bash: `echo 'source <(celeriac completion bash)' >> ~/.bashrc`,
  zsh: `echo 'source <(celeriac completion zsh)' >> ~/.zshrc`,
  fish: 'celeriac completion fish > ~/.config/fish/completions/celeriac.fish',
}

export const scripts: Readonly<Record<Shell, string>> = {
  bash: `_celeriac() {
  local line="\${COMP_LINE:0:COMP_POINT}" word begun
  word="\${line##*[[:space:]]}"
  # Words end at : and = for bash: what stands before is there already.
  begun="\${word%"\${word##*[:=]}"}"
  mapfile -t COMPREPLY < <("\${COMP_WORDS[0]}" completion --suggest "$line" 2>/dev/null | cut -f1)
  COMPREPLY=("\${COMPREPLY[@]#"$begun"}")
  if [[ \${#COMPREPLY[@]} -eq 1 && "\${COMPREPLY[0]}" == *[/=] ]]; then compopt -o nospace; fi
}
complete -F _celeriac celeriac`,
  zsh: `#compdef celeriac
_celeriac() {
  local -a found
  local line value help
  while IFS=$'\\t' read -r value help; do
    found+=("\${value//:/\\\\:}\${help:+:$help}")
  done < <("\${words[1]}" completion --suggest "\${(j: :)words[1,CURRENT]}" 2>/dev/null)
  _describe 'celeriac' found
}
if [[ "\${funcstack[1]}" == _celeriac ]]; then _celeriac "$@"; else (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }; compdef _celeriac celeriac; fi`,
  fish: `function __celeriac_suggest
  set -l line (commandline -cp)
  set -l words (commandline -opc)
  $words[1] completion --suggest "$line" 2>/dev/null
end
complete -c celeriac -f -a '(__celeriac_suggest)'`,
}

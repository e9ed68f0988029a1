#compdef plakar
# Completion of plakar for zsh, made by: plakar completion zsh

_plakar() {
    local line names= tab=$'\t'
    local -a given plain open
    # Without the quotes that were typed, as far as the cursor.
    given=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
    while IFS= read -r line; do
        if [[ $line == $tab* ]]; then
            names=${line#$tab}
            continue
        fi
        local word=${line%%$tab*} about=
        [[ $line != *$tab* ]] || about=${line#*$tab}
        word=${${word//\\/\\\\}//:/\\:}
        # More is to follow what ends like this, so no blank is added.
        if [[ $word == *[:/=] ]]; then
            open+=("$word${about:+:$about}")
        else
            plain+=("$word${about:+:$about}")
        fi
    done < <(${~words[1]} completion candidates $((CURRENT - 2)) -- "${given[@]}" 2>/dev/null)

    local missing=1
    (( $#plain )) && _describe -V plakar plain && missing=0
    (( $#open )) && _describe -V plakar open -S '' && missing=0
    [[ $PREFIX != -*=* ]] || compset -P '*='
    case $names in
    files) _files && missing=0 ;;
    directories) _files -/ && missing=0 ;;
    esac
    return missing
}

if [[ ${funcstack[1]} == _plakar ]]; then
    _plakar "$@"
elif (( $+functions[compdef] )); then
    compdef _plakar plakar
fi

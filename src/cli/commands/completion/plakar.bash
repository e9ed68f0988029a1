# Completion of plakar for bash, made by: plakar completion bash

_plakar() {
    local program=${1/#\~\//$HOME/} line=${COMP_LINE:0:COMP_POINT}
    local words=() word gap i last quoted=

    # bash parts words at colons, @ and = too. Here they are put together again, as far as
    # the cursor, and without the quotes that were typed.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        gap=${line%%[![:space:]]*}
        line=${line#"$gap"}
        word=${COMP_WORDS[i]}
        ((i < COMP_CWORD)) || word=$line
        line=${line#"$word"}
        last=$((${#words[@]} - 1))
        if [[ -n $gap || $last -lt 0 ]]; then
            quoted=
            [[ $word != [\'\"]* ]] || quoted=yes
            words+=("")
            last=$((last + 1))
        fi
        words[last]+=${word//[\\\'\"]/}
    done
    last=$((${#words[@]} - 1))
    [[ $last -ge 1 ]] || return

    # Only what follows the last of these is replaced (an @ belongs to it), so the rest must
    # not be there twice. Within quotes all of the word is.
    local current=${words[last]} kept= separator
    for separator in : =; do
        [[ -z $quoted && $COMP_WORDBREAKS == *"$separator"* ]] || continue
        [[ $current == *"$separator"* ]] || continue
        word=${current%"${current##*"$separator"}"}
        [[ ${#word} -le ${#kept} ]] || kept=$word
    done

    local candidates=() abouts=() names= about tab=$'\t'
    while IFS= read -r line; do
        word=${line%%"$tab"*}
        about=${line#"$word"}
        about=${about#"$tab"}
        if [[ -z $word ]]; then
            names=$about
        else
            candidates+=("${word#"$kept"}")
            abouts+=("$about")
        fi
    done < <("$program" completion candidates "$((last - 1))" -- "${words[@]:1}" 2>/dev/null)

    COMPREPLY=()
    for ((i = 0; i < ${#candidates[@]}; i++)); do
        word=${candidates[i]}
        # With names of files among them, readline quotes them all.
        [[ -n $names || -n $quoted ]] || printf -v word '%q' "$word"
        # When all are listed, since none could be chosen, they are explained.
        if [[ ${COMP_TYPE-} == 63 && ${#candidates[@]} -gt 1 && -n ${abouts[i]} ]]; then
            printf -v word '%-14s (%s)' "$word" "${abouts[i]}"
        fi
        COMPREPLY+=("$word")
    done

    local compgen_flag=
    case $names in
    files) compgen_flag=-f ;;
    directories) compgen_flag=-d ;;
    esac
    if [[ -n $compgen_flag ]]; then
        while IFS= read -r word; do
            COMPREPLY+=("$word")
        done < <(compgen "$compgen_flag" -- "${current#"$kept"}")
    fi

    # Old versions have no such command, and outside of a completion it has nothing to do.
    {
        compopt -o nosort
        [[ -z $names ]] || compopt -o filenames
        [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *[:/=] ]] || compopt -o nospace
    } 2>/dev/null
    return 0
}

complete -F _plakar plakar

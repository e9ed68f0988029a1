# Completion of plakar for fish, made by: plakar completion fish

function __plakar_candidates
    # Without the quotes that were typed, as far as the cursor.
    set -l given (commandline -opc | string unescape)
    set -l current (commandline -ct | string unescape)
    # An empty word is a word too.
    set -l words $given[2..-1] "$current"
    # The value of -flag=value is completed as one word with it.
    set -l kept (string match -r -- '^-[^=]*=' "$current")
    set -l name (string replace -r -- '^-[^=]*=' '' "$current")
    for line in ($given[1] completion candidates (math (count $words) - 1) -- $words 2>/dev/null)
        switch $line
            case \tfiles
                printf '%s\n' "$kept"(__fish_complete_path "$name")
            case \tdirectories
                printf '%s\n' "$kept"(__fish_complete_directories "$name" '')
            case '*'
                printf '%s\n' $line
        end
    end
end

complete -c plakar -k -f -a '(__plakar_candidates)'

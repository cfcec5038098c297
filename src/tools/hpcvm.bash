# SPDX-License-Identifier: GPL-2.0-only
# bash completion for hpcvm

_hpcvm()
{
	local cur=$2 commands="info isolate list noise preempt proof reserve resume top" vms=/sys/class/misc/hpcvm/vms file
	local words=() IFS=$'\n'

	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(IFS=' ' compgen -W "$commands help --help --version" -- "$cur")
		return
	fi
	case ${COMP_WORDS[1]} in
	help | --help | -h)
		mapfile -t COMPREPLY < <(IFS=' ' compgen -W "$commands" -- "$cur")
		return
		;;
	info | list)
		words=(--json --help)
		;;
	isolate)
		words=(--undo --json --help)
		;;
	noise | preempt | proof | resume)
		words=(--json --help)
		case ${COMP_WORDS[1]} in
		noise) words+=(--seconds --csv) ;;
		preempt) words+=(--keep) ;;
		proof) words+=(--seconds --watch) ;;
		esac
		for file in "$vms"/*/name; do
			[ -r "$file" ] && words+=("$(<"$file")")
		done
		;;
	reserve)
		words=(--size --count --page --node --uid --gid --threads --keep --list --drop --json --help)
		;;
	top)
		words=(--once --seconds --json --help)
		;;
	esac
	COMPREPLY=()
	for file in "${words[@]}"; do
		[[ -n $file && $file == "$cur"* ]] && COMPREPLY+=("$(printf %q "$file")")
	done
}
complete -F _hpcvm hpcvm

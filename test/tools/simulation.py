"""Imported beside ministack: its SimulatePrincipalPolicy leaves ContextEntries out, with which IAM is told what tags a resource
has. Its evaluator of policies knows what to do with them."""
import contextvars
import functools

from ministack.core import iam_evaluator
from ministack.services import iam

told = contextvars.ContextVar("told")


def heard(extract):
    @functools.wraps(extract)
    def answer(p):
        entry = "ContextEntries.member.{}.{}".format
        is_told, n = {}, 1
        while name := iam._p(p, entry(n, "ContextKeyName")):
            is_told[name.lower()] = iam._p(p, entry(n, "ContextKeyValues.member.1"))
            n += 1
        told.set(is_told)
        return extract(p)

    return answer


def heeded(evaluate):
    @functools.wraps(evaluate)
    def answer(context, *rest, **more):
        context.service_context.update(told.get({}))
        return evaluate(context, *rest, **more)

    return answer


iam._extract_simulate_params = heard(iam._extract_simulate_params)
iam_evaluator.evaluate = heeded(iam_evaluator.evaluate)

"""Wordings that strategies use and the base model was taught. One place, so that both stay the same."""

ASK_VERIFY = ("Is this attempt right? Check each step.", "Check this attempt step by step.", "Verify each step of this attempt.")
ASK_REVISE = ("This attempt may be wrong. Give a corrected one.", "Revise this attempt.", "Improve this attempt if it is wrong.")
ASK_CHOOSE = ("Which of these answers is right?", "Choose the right answer.")
ASK_AGAIN = ("That answer is wrong. Think about what went wrong, and try again.", "That is wrong. Try again.", "Try again.")
ASK_DECLINE = ('If you are not sure, say "I don\'t know".', "You may decline if you do not know.")
